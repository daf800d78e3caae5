"""The text front end of a model that is told each segment's language: Chinese, English, Japanese, Spanish, Arabic."""
