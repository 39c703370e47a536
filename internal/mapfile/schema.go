package mapfile

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

// setting is one key of a group of settings that are kept in an M.
type setting[M any] struct {
	key string
	// read puts the value of the key into m.
	read func(r *reader, n *yaml.Node, m *M)
	// write returns the value, nil where the setting is not set or says what its default says.
	write func(m *M) (*yaml.Node, error)
	// tidy removes the value where it says what the default says.
	tidy func(m *M)
}

// settings are a group, in the order of the file.
type settings[M any] []setting[M]

// parse reads a mapping into m and returns which keys it has.
func (s settings[M]) parse(r *reader, name string, n *yaml.Node, m *M) (has map[string]bool) {
	has = map[string]bool{}
	r.entries(name, n, func(key, value *yaml.Node) {
		i := slices.IndexFunc(s, func(one setting[M]) bool { return one.key == key.Value })
		if i < 0 {
			r.fail(key.Line, "%q is not known%s; %s has %s", key.Value, near(key.Value, s.keys()), name, enumerate(s.keys()))
			return
		}
		has[key.Value] = true
		s[i].read(r, value, m)
	})
	return has
}

// format returns the mapping of all that is set.
func (s settings[M]) format(m *M) (*yaml.Node, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, one := range s {
		value, err := one.write(m)
		if err != nil {
			return nil, err
		}
		if value != nil {
			root.Content = append(root.Content, scalar(one.key), value)
		}
	}
	return root, nil
}

func (s settings[M]) tidy(m *M) {
	for _, one := range s {
		if one.tidy != nil {
			one.tidy(m)
		}
	}
}

func (s settings[M]) keys() []string {
	keys := make([]string, len(s))
	for i, one := range s {
		keys[i] = one.key
	}
	return keys
}

// text is a setting that is a text; empty: not set.
func text[M any](key string, at func(*M) *string) setting[M] {
	return setting[M]{
		key:  key,
		read: func(r *reader, n *yaml.Node, m *M) { *at(m) = r.text(key, n) },
		write: func(m *M) (*yaml.Node, error) {
			if *at(m) == "" {
				return nil, nil
			}
			return scalar(*at(m)), nil
		},
	}
}

// yes is a setting that is true or false; false: not set. inverse: the file says the opposite of the field.
func yes[M any](key string, inverse bool, at func(*M) *bool) setting[M] {
	return setting[M]{
		key: key,
		read: func(r *reader, n *yaml.Node, m *M) {
			switch v := r.text(key, n); strings.ToLower(v) {
			case "true", "yes":
				*at(m) = !inverse
			case "false", "no":
				*at(m) = inverse
			default:
				r.fail(n.Line, "%s is %q; give true or false", key, v)
			}
		},
		write: func(m *M) (*yaml.Node, error) {
			if !*at(m) {
				return nil, nil
			}
			return literal(fmt.Sprint(!inverse), "!!bool"), nil
		},
	}
}

// enum is what proto enums are.
type enum interface {
	~int32
	fmt.Stringer
}

// words name the values of an enum in the file; the first that is named is the default unless one is said.
type words[E enum] []struct {
	word  string
	value E
}

func (w words[E]) words() []string {
	all := make([]string, len(w))
	for i, one := range w {
		all[i] = one.word
	}
	return all
}

func (w words[E]) find(r *reader, key string, n *yaml.Node) (value E) {
	v := r.text(key, n)
	for _, one := range w {
		if one.word == v {
			return one.value
		}
	}
	r.fail(n.Line, "%s is %q%s; give %s", key, v, near(v, w.words()), enumerate(w.words()))
	return value
}

func (w words[E]) word(key string, v E) (string, error) {
	for _, one := range w {
		if one.value == v {
			return one.word, nil
		}
	}
	return "", fmt.Errorf("%s is %v, which this version of catalogsync does not know; use a newer one", key, v)
}

// word is a setting that is one of some words; standard is the value that not setting it means.
func word[M any, E enum](key string, w words[E], standard E, at func(*M) *E) setting[M] {
	return setting[M]{
		key:  key,
		read: func(r *reader, n *yaml.Node, m *M) { *at(m) = w.find(r, key, n) },
		write: func(m *M) (*yaml.Node, error) {
			v := *at(m)
			if v == 0 || v == standard {
				return nil, nil
			}
			name, err := w.word(key, v)
			return scalar(name), err
		},
		tidy: func(m *M) {
			if v := at(m); *v == standard {
				*v = 0
			}
		},
	}
}

// group is a setting that is a group of settings of its own; a group of which nothing is set is not set.
func group[M, G any, P interface {
	*G
	proto.Message
}](key string, inner settings[G], at func(*M) *P,
) setting[M] {
	return setting[M]{
		key: key,
		read: func(r *reader, n *yaml.Node, m *M) {
			*at(m) = new(G)
			inner.parse(r, key, n, *at(m))
		},
		write: func(m *M) (*yaml.Node, error) {
			if *at(m) == nil {
				return nil, nil
			}
			n, err := inner.format(*at(m))
			if err != nil || len(n.Content) == 0 {
				return nil, err
			}
			return n, nil
		},
		tidy: func(m *M) {
			g := at(m)
			if *g == nil {
				return
			}
			if inner.tidy(*g); proto.Size(*g) == 0 {
				*g = nil
			}
		},
	}
}

// Words of the enums.
var (
	directions = words[mapperv1.Direction]{{"write", mapperv1.Direction_DIRECTION_WRITE}, {"import", mapperv1.Direction_DIRECTION_IMPORT}}
	writeWhens = words[mapperv1.WriteWhen]{
		{"always", mapperv1.WriteWhen_WRITE_WHEN_ALWAYS}, {"if_blank", mapperv1.WriteWhen_WRITE_WHEN_BLANK}, {"on_create", mapperv1.WriteWhen_WRITE_WHEN_CREATE},
	}
	blanks   = words[mapperv1.Blank]{{"leave", mapperv1.Blank_BLANK_LEAVE}, {"clear", mapperv1.Blank_BLANK_CLEAR}}
	tooLongs = words[mapperv1.TooLong]{{"reject", mapperv1.TooLong_TOO_LONG_REJECT}, {"cut", mapperv1.TooLong_TOO_LONG_CUT}}
	unlisted = words[mapperv1.Unlisted]{
		{"reject", mapperv1.Unlisted_UNLISTED_REJECT}, {"keep", mapperv1.Unlisted_UNLISTED_KEEP}, {"default", mapperv1.Unlisted_UNLISTED_DEFAULT},
	}
	phoneFormats = words[mapperv1.PhoneFormat]{
		{"keep", mapperv1.PhoneFormat_PHONE_FORMAT_KEEP},
		{"e164", mapperv1.PhoneFormat_PHONE_FORMAT_E164},
		{"international", mapperv1.PhoneFormat_PHONE_FORMAT_INTERNATIONAL},
		{"national", mapperv1.PhoneFormat_PHONE_FORMAT_NATIONAL},
	}
	severalMatches = words[mapperv1.SeveralMatches]{
		{"refuse", mapperv1.SeveralMatches_SEVERAL_MATCHES_REFUSE},
		{"oldest", mapperv1.SeveralMatches_SEVERAL_MATCHES_OLDEST},
		{"newest", mapperv1.SeveralMatches_SEVERAL_MATCHES_NEWEST},
		{"owner", mapperv1.SeveralMatches_SEVERAL_MATCHES_OWNER},
	}
	converteds = words[mapperv1.Converted]{{"leave", mapperv1.Converted_CONVERTED_LEAVE}, {"update_contact", mapperv1.Converted_CONVERTED_UPDATE_CONTACT}}
	deleteds   = words[mapperv1.Deleted]{
		{"create", mapperv1.Deleted_DELETED_CREATE}, {"undelete", mapperv1.Deleted_DELETED_UNDELETE}, {"leave", mapperv1.Deleted_DELETED_LEAVE},
	}
	contactAndLeads = words[mapperv1.ContactAndLead]{{"skip", mapperv1.ContactAndLead_CONTACT_AND_LEAD_SKIP}, {"both", mapperv1.ContactAndLead_CONTACT_AND_LEAD_BOTH}}
	leavers         = words[mapperv1.Leavers]{{"leave", mapperv1.Leavers_LEAVERS_LEAVE}, {"flag", mapperv1.Leavers_LEAVERS_FLAG}}
	operators       = words[mapperv1.Operator]{
		{"contains", mapperv1.Operator_OPERATOR_CONTAINS},
		{"equals", mapperv1.Operator_OPERATOR_EQUALS},
		{"in", mapperv1.Operator_OPERATOR_IN},
		{"matches", mapperv1.Operator_OPERATOR_MATCHES},
		{"empty", mapperv1.Operator_OPERATOR_EMPTY},
		{"less", mapperv1.Operator_OPERATOR_LESS},
		{"less_or_equal", mapperv1.Operator_OPERATOR_LESS_OR_EQUAL},
		{"greater", mapperv1.Operator_OPERATOR_GREATER},
		{"greater_or_equal", mapperv1.Operator_OPERATOR_GREATER_OR_EQUAL},
		{"changed_since", mapperv1.Operator_OPERATOR_CHANGED_SINCE},
		{"starts_with", mapperv1.Operator_OPERATOR_STARTS_WITH},
	}
)

// scalar is a text.
func scalar(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	if strings.ContainsAny(s, "\n\r") && !tame(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// tame reports whether a text of several lines can be written as a block without losing anything.
func tame(s string) bool {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) || strings.TrimSpace(line) != line && (i == 0 || strings.TrimRight(line, " ") != line) {
			return false
		}
	}
	return lines[0] != ""
}

// literal is a value that is no text.
func literal(s, tag string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s, Tag: tag} }

// near returns the beginning of a question after the known word that was meant, or nothing.
func near(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(word), k); d < least && d <= max(1, len(k)/3) {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is how many letters must be added, removed, changed or swapped to make b of a.
func distance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 40
	}
	var before, row []int
	above := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row = append(make([]int, 0, len(b)+1), i+1)
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d := min(above[j]+cost, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			row = append(row, d)
		}
		before, above = above, row
	}
	return above[len(b)]
}

// enumerate lists words: "a, b and c".
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
