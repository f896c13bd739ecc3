"""One file per scheme: data only, read without being imported. See `edgekd.quantize.Scheme` for the constants."""
