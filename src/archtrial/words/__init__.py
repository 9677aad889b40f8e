"""From numbers to text: units, digits and sentences, in one place.

`numbers` writes quantities; every other module says in sentences what one kind of
finding means. What computes knows no words, and what lays out a page or a terminal
makes none of its own.
"""
