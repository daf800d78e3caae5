"""`edgetts say`: `verb` (the command), `options` (its flags), `request` (text, emotion and options, checked), `output`
(destinations, checked), `remote` (the daemon), `live` (streamed output), `finish` (files, subtitles, the report).
"""
