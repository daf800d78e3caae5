"""Our own reading rules: what a careful announcer says for numbers, signs and abbreviations.

In: text of one language. Out: the same text in words, without a digit. One file per idea, each a table of rules;
`english` and `chinese` give their order. They stand in for upstream's rules (`edgetts.text.rules`), which misread
much of what people write and take milliseconds a sentence; upstream's stay available for parity.
"""
