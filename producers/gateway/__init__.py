"""How source events come in over HTTP: Segment's API and its signed webhook.

    access     who may send: write keys, signatures
    heads      request lines and headers, within bounds of size and time
    bodies     what was sent, within bounds of size and time
    envelopes  the source events in a body
    commit     what requests sent, stored together
    app        the routes, and what is answered

A request is answered with 200 when Redis has all changes of the source events that were taken, and not before.
"""
