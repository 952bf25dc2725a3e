"""The HTTP edge: HTTP and JSON outside, gRPC inside.

It owns the translation between the two: routes, bindings, JSON, error shapes, conditional requests, server-sent events,
and the description of all that (OpenAPI and its page). Everything is derived from the descriptors through
`mesh.contract`. It holds no data, knows no domain and decides no access: the services do.
"""
