package store

import "strings"

// digits of ids in ascending order, so that ids sort as they were given out: Salesforce counts 0-9, A-Z, a-z.
const idDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var digitValue = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range len(idDigits) {
		t[idDigits[i]] = int8(i)
	}
	return t
}()

// Long gives the 18-character form of a 15-character id.
func Long(id15 string) string {
	var b [18]byte
	long(b[:], id15)
	return string(b[:])
}

func long(b []byte, id15 string) {
	copy(b, id15[:15])
	for block := range 3 {
		bits := 0
		for k := range 5 {
			if c := id15[block*5+k]; c >= 'A' && c <= 'Z' {
				bits |= 1 << k
			}
		}
		b[15+block] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[bits]
	}
}

// ValidID reports whether s has the form of an id: 15 base-62 characters, or 18 whose last three check the others. The
// 18-character form is taken in any case, as Salesforce does; canonical is its exact spelling in 18 characters.
func ValidID(s string) (canonical string, ok bool) {
	if len(s) != 15 && len(s) != 18 {
		return "", false
	}
	for i := range len(s) {
		if digitValue[s[i]] < 0 {
			return "", false
		}
	}
	if len(s) == 15 {
		return Long(s), true
	}
	if l := Long(s); l == s {
		return s, true
	}
	// The check characters tell which letters are capitals: a case-folded id can be restored.
	var b [15]byte
	up := strings.ToUpper(s)
	for block := range 3 {
		bits := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", up[15+block])
		if bits < 0 {
			return "", false
		}
		for k := range 5 {
			i := block*5 + k
			c := up[i]
			letter := c >= 'A' && c <= 'Z'
			switch {
			case bits&(1<<k) != 0 && !letter:
				return "", false
			case bits&(1<<k) == 0 && letter:
				c += 'a' - 'A'
			}
			b[i] = c
		}
	}
	return Long(string(b[:])), true
}

// idFormat turns serial numbers of one org into ids and back.
type idFormat struct {
	pod  string // characters 4 to 6
	base uint64 // added to every serial
}

func newIDFormat(seed uint64) idFormat {
	x := seed*0x9e3779b97f4a7c15 + 0x7f4a7c15
	x ^= x >> 29
	pod := string([]byte{idDigits[10+26+x%26], idDigits[10+(x>>8)%26], '0'})
	return idFormat{pod: pod, base: 300_000_000 + (x>>16)%400_000_000}
}

func (f idFormat) id(prefix string, serial uint32) string {
	var b [18]byte
	f.put(b[:], prefix, serial)
	return string(b[:])
}

func (f idFormat) put(b []byte, prefix string, serial uint32) {
	copy(b, prefix)
	copy(b[3:], f.pod)
	n := f.base + uint64(serial)
	for i := 14; i >= 6; i-- {
		b[i] = idDigits[n%62]
		n /= 62
	}
	bits := [3]int{}
	for i := range 15 {
		if c := b[i]; c >= 'A' && c <= 'Z' {
			bits[i/5] |= 1 << (i % 5)
		}
	}
	for i, v := range bits {
		b[15+i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[v]
	}
}

// serial is the number behind a canonical id; 0 if it is not of this org.
func (f idFormat) serial(id string) uint32 {
	if len(id) < 15 || id[3:6] != f.pod {
		return 0
	}
	var n uint64
	for i := 6; i < 15; i++ {
		n = n*62 + uint64(digitValue[id[i]])
	}
	if n <= f.base || n-f.base > 1<<32-1 {
		return 0
	}
	return uint32(n - f.base)
}
