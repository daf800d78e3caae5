"""The text front end of a model with a language input: Chinese, English, Japanese, Spanish, Arabic."""
