"""The local control plane: embedded servers, certificates, Envoy configuration and the process supervisor.

It starts, watches and stops the processes of a mesh on one machine. It never takes part in a call and knows no domain.
"""
