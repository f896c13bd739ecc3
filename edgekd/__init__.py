"""edgekd distils, quantises, exports, proves and measures small models for edge devices."""
