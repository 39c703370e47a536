package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
)

// sealedText is a sealed value as it stands in a record.
type sealedText struct {
	encoded string
	value   []byte
}

// sealedIn returns the sealed values of a JSON record: []byte fields that begin as sealed values do.
func sealedIn(record json.RawMessage) (found []sealedText) {
	d := json.NewDecoder(bytes.NewReader(record))
	for {
		token, err := d.Token()
		if err != nil {
			return found // at the end: the store holds nothing but JSON
		}
		text, ok := token.(string)
		if !ok || len(text) < base64.StdEncoding.EncodedLen(len(magic)) {
			continue
		}
		value, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		if _, _, err := split(value); err == nil {
			found = append(found, sealedText{text, value})
		}
	}
}
