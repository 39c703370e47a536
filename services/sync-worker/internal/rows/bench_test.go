package rows_test

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// BenchmarkSealing measures sealing a batch of 2,000 people beside encoding and compressing it.
func BenchmarkSealing(b *testing.B) {
	m := &eventv1.Rows{Batch: &rowv1.Batch{Columns: []string{"id", "email", "first_name", "last_name", "phone", "title", "city"}}}
	for i := range 2000 {
		mail := fmt.Sprintf("person.%d@example.com", i*7919)
		m.Keys = append(m.Keys, mail)
		m.Batch.Rows = append(m.Batch.Rows, &rowv1.Row{Id: fmt.Sprint("p", i), Values: []string{
			fmt.Sprint("p", i), mail, fmt.Sprint("First", i%97), fmt.Sprint("Last", i*31%1009), fmt.Sprintf("+1 415 555 %04d", i), "Engineer", "Springfield",
		}})
	}
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode and pack", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			raw, err := proto.Marshal(m)
			if err != nil {
				b.Fatal(err)
			}
			rows.Pack(raw)
		}
	})
	packed := rows.Pack(raw)
	b.Run("seal", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			rows.Seal(aead, packed, "catalogsync.rows.run1.people.0.snapshot-0.1.0")
		}
	})
}
