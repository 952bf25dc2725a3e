"""The runtime that every Titan service stands on: server, interceptors, clients, database, events, telemetry.

It owns what is the same for every domain and knows none of them: it imports third parties and the generated
`titan.type` and `titan.options`, never a `svc_*` package.
"""
