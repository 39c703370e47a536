package rows

import "crypto/cipher"

// Pack compresses as a publisher does.
func Pack(raw []byte) []byte { return encoder.EncodeAll(raw, nil) }

// Unpack is its inverse.
func Unpack(packed []byte) ([]byte, error) { return decoder.DecodeAll(packed, nil) }

// Seal seals as a publisher does.
func Seal(aead cipher.AEAD, packed []byte, subject string) []byte {
	return key{version: 1, aead: aead}.seal(packed, subject)
}
