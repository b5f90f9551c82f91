"""Truthful endings and robustness: scripted peers on both sides of a proxy, and what each must see."""
