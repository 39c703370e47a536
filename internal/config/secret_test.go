package config_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"text/template"

	"github.com/catalogsync/catalogsync/internal/config"
)

const hidden = "hunter2"

// holder has secrets where printers reach them in different ways.
type holder struct {
	Field   config.Secret
	Pointer *config.Secret
	Any     any
	List    []config.Secret
	Map     map[string]config.Secret
	private config.Secret // printers cannot call methods on this one
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	s := config.NewSecret(hidden)
	h := holder{s, &s, s, []config.Secret{s}, map[string]config.Secret{"k": s}, s}
	values := map[string]any{
		"secret": s, "pointer": &s, "holder": h, "pointer to holder": &h,
		"reflect": reflect.ValueOf(s), "error": fmt.Errorf("x %v: %w", s, errors.New("y")),
	}
	hexes := []string{fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden), fmt.Sprintf("%d", []byte(hidden))}
	check := func(how, text string) {
		t.Helper()
		for _, leak := range append(hexes, hidden) {
			if strings.Contains(text, leak) {
				t.Errorf("%s shows the secret: %s", how, text)
			}
		}
	}
	for name, v := range values {
		for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X % x %d %t %p %T %20s %-20v %U %c %e %b %o %w %z") {
			check(name+" with "+verb, fmt.Sprintf(verb, v))
		}
		check(name+" printed", fmt.Sprint(v))
		b, err := json.Marshal(v)
		check(name+" as JSON", fmt.Sprint(string(b), err))
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v, slog.Group("g", "v", v))
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v, slog.Group("g", "v", v))
		check(name+" logged", log.String())
	}
	b, err := xml.Marshal(struct{ S config.Secret }{s})
	check("XML", fmt.Sprint(string(b), err))
	var buf bytes.Buffer
	err = gob.NewEncoder(&buf).Encode(struct{ S config.Secret }{s})
	check("gob", fmt.Sprint(buf.String(), err))
	buf.Reset()
	if err := template.Must(template.New("").Parse("{{.}} {{.Field}} {{printf `%s` .Field}}")).Execute(&buf, h); err != nil {
		t.Fatal(err)
	}
	check("template", buf.String())
}

func TestSecretReadsAsRedacted(t *testing.T) {
	t.Parallel()
	s := config.NewSecret(hidden)
	for _, got := range []string{s.String(), s.GoString(), fmt.Sprintf("%v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%x", &s)} {
		if got != "[redacted]" {
			t.Errorf("secret reads %q", got)
		}
	}
	b, err := json.Marshal(map[string]config.Secret{"full": s, "none": {}})
	if got, want := string(b), `{"full":"[redacted]","none":""}`; got != want || err != nil {
		t.Errorf("JSON is %s (%v), want %s", got, err, want)
	}
}

func TestSecretContent(t *testing.T) {
	t.Parallel()
	s, none := config.NewSecret(hidden), config.NewSecret("")
	if s.Expose() != hidden || s.IsZero() {
		t.Errorf("content is %q", s.Expose())
	}
	if none.Expose() != "" || !none.IsZero() || none.String() != "" {
		t.Errorf("empty secret is %q", none.Expose())
	}
	if !s.Equal(config.NewSecret(hidden)) || s.Equal(none) || s.Equal(config.NewSecret("hunter3")) {
		t.Error("secrets compare wrongly")
	}
}
