"""The reading rules of edgetts for numbers, signs and abbreviations.

In: text of one language. Out: the same text in words, without digits. Each file is a table of rules on one subject;
`english` and `chinese` give their order. They replace upstream's rules (`edgetts.text.rules`), which misread common
text and take milliseconds a sentence; upstream's stay available for parity.
"""
