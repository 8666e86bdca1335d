"""Cases that Segment's own destinations were put to, and what the relay makes of the same source events.

`criteo.json`, `taboola.json` and `stackadapt.json` hold the cases, one a line: source events, the settings of the
destination and its mapping, how the vendor replied where it was not as usual, and the requests that Segment sent,
reduced to what they say (no headers, secrets or documents). Recorded from segmentio/action-destinations @970a17ee.

* `cases` reads them.
* `segment` tells what Segment's requests mean: who enters and who leaves which audience.
* `relay` plays a case through the relay: parse, route, append, flush, to the vendor's stand-in.
* `exceptions.toml` lists the cases in which the relay ends elsewhere: why, and where it ends instead.
* `test_memberships` compares; `test_operations` has the cases that are no source events.

People are compared as the vendor knows them: Criteo trims and lower-cases what it is sent (its normalisation rule),
Taboola holds the hash or the device id as it came, StackAdapt an email, trimmed and in lower case. What a request
changed for a vendor that refused it is nothing.
"""
