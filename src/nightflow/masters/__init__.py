"""Master biases, darks and flats: group, combine, vet, build, store and choose."""
