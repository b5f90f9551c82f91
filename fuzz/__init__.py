"""Fuzzing of what peers say before TLS: ``make fuzz``, or ``python -m fuzz NAME``.

The corpus (``fuzz/corpus/NAME``) has one good conversation for each script; atheris mutates it with the
coverage of our code in view.  tests/negotiate/test_fuzz.py holds the same contract for a few made up inputs.
"""
