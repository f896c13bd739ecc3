"""One file per scheme: data only, read without being imported. See `edgekd.quantize.Scheme` for the constants.

`OTHER_WEIGHT_BITS` may be left out; without it every weight has `WEIGHT_BITS`.
"""
