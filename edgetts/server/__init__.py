"""The daemon: one process with one warm engine that several clients share.

By idea: `settings` (what it may do), `desk` (who is served next), `host` (networks that come and go), `service` (a
request from its arrival to its log line), `faults` (what clients are told), `guard` (who may ask at all), `metrics`;
then the protocols. Only the protocols know JSON. Needs the extra `serve`, except `client`, which needs nothing.
"""
