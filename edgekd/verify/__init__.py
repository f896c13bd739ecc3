"""Is an exported file still the model that was trained? Numbers, tolerances and gates; needs no TensorFlow."""
