package salesforce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

const (
	maxValue = 8 << 20 // one value or one CSV row: Salesforce allows 400,000 characters in a record
	maxDepth = 64      // of nested JSON
)

// allowance keeps a parser from buffering without end: it may read ahead of the last finished value by
// maxValue bytes and no more.
type allowance struct {
	r          io.Reader
	read, done int64
}

func (a *allowance) Read(b []byte) (int, error) {
	if a.read-a.done > maxValue {
		return 0, fmt.Errorf("%w: a single value is over %d bytes", ErrTooLarge, maxValue)
	}
	n, err := a.r.Read(b)
	a.read += int64(n)
	return n, err
}

// jsonReader walks a JSON reply token by token.
type jsonReader struct {
	d *json.Decoder
	a *allowance
}

func newJSONReader(r io.Reader) *jsonReader {
	a := &allowance{r: r}
	d := json.NewDecoder(a)
	d.UseNumber()
	return &jsonReader{d: d, a: a}
}

func (j *jsonReader) token() (json.Token, error) {
	t, err := j.d.Token()
	if err != nil {
		return nil, jsonError(err)
	}
	j.a.done = j.d.InputOffset()
	return t, nil
}

// jsonError tells text that is no JSON from a reply that broke off.
func jsonError(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return malformed("%v", err)
	}
	return err
}

// end checks that nothing follows the value that was read.
func (j *jsonReader) end() error {
	switch _, err := j.d.Token(); {
	case err == io.EOF:
		return nil
	case err != nil:
		return jsonError(err)
	}
	return malformed("text after the end of the JSON value")
}

func (j *jsonReader) delim(want json.Delim) error {
	t, err := j.token()
	if err != nil {
		return err
	}
	if t != want {
		return malformed("%v where %v was expected", kindOf(t), want)
	}
	return nil
}

// object calls fn for each key of an object; fn must consume the value.
func (j *jsonReader) object(fn func(key string) error) error {
	if err := j.delim('{'); err != nil {
		return err
	}
	return j.members(fn)
}

// members is object after the brace.
func (j *jsonReader) members(fn func(key string) error) error {
	for j.d.More() {
		t, err := j.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return malformed("%v where a key was expected", kindOf(t))
		}
		if err := fn(key); err != nil {
			return err
		}
	}
	return j.delim('}')
}

// array calls fn before each element; fn must consume it.
func (j *jsonReader) array(fn func() error) error {
	if err := j.delim('['); err != nil {
		return err
	}
	for j.d.More() {
		if err := fn(); err != nil {
			return err
		}
	}
	return j.delim(']')
}

// skip consumes one value of any kind.
func (j *jsonReader) skip() error {
	t, err := j.token()
	if err != nil {
		return err
	}
	return j.skipRest(t)
}

// skipRest consumes what is left of a value whose first token is t.
func (j *jsonReader) skipRest(t json.Token) error {
	depth := 0
	for {
		if d, ok := t.(json.Delim); ok {
			if d == '{' || d == '[' {
				depth++
			} else {
				depth--
			}
		}
		if depth > maxDepth {
			return malformed("nested deeper than %d", maxDepth)
		}
		if depth == 0 {
			return nil
		}
		var err error
		if t, err = j.token(); err != nil {
			return err
		}
	}
}

// value decodes the next value into v. For values that are small by nature.
func (j *jsonReader) value(v any) error {
	if err := j.d.Decode(v); err != nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return malformed("%v", err)
		}
		return jsonError(err)
	}
	j.a.done = j.d.InputOffset()
	return nil
}

func (j *jsonReader) int64() (int64, error) {
	t, err := j.token()
	if err != nil {
		return 0, err
	}
	n, ok := t.(json.Number)
	if !ok {
		return 0, malformed("%v where a number was expected", kindOf(t))
	}
	i, err := strconv.ParseInt(n.String(), 10, 64)
	if err != nil {
		return 0, malformed("number out of range")
	}
	return i, nil
}

func (j *jsonReader) bool() (bool, error) {
	t, err := j.token()
	if err != nil {
		return false, err
	}
	b, ok := t.(bool)
	if !ok {
		return false, malformed("%v where true or false was expected", kindOf(t))
	}
	return b, nil
}

// text reads a string or null, which is "".
func (j *jsonReader) text() (string, error) {
	t, err := j.token()
	if err != nil {
		return "", err
	}
	switch t := t.(type) {
	case string:
		return t, nil
	case nil:
		return "", nil
	}
	return "", malformed("%v where text was expected", kindOf(t))
}

// kindOf names a token without showing its value.
func kindOf(t json.Token) string {
	switch t := t.(type) {
	case json.Delim:
		return t.String()
	case string:
		return "text"
	case bool:
		return "a boolean"
	case nil:
		return "null"
	}
	return "a number"
}

// readJSON sends a read whose reply has no effects while it is parsed: parse may run again from the start
// when the reply breaks off.
func (c *Client) readJSON(ctx context.Context, r *request, parse func(*jsonReader) error) error {
	return c.read(ctx, r, func(resp *response) error {
		j := newJSONReader(resp.body)
		if err := parse(j); err != nil {
			return err
		}
		return j.end()
	})
}

// read sends r and has its reply parsed, again when it broke off.
func (c *Client) read(ctx context.Context, r *request, parse func(*response) error) error {
	t := c.newTries(r)
	for {
		resp, err := t.send(ctx)
		if err != nil {
			return err
		}
		err = parse(resp)
		broken := resp.broken(err)
		resp.close(err)
		if broken == nil {
			if err != nil {
				return fmt.Errorf("salesforce: %s: %w", r.op, err)
			}
			return nil
		}
		if err := t.again(ctx, broken); err != nil {
			return err
		}
	}
}

// broken returns the transport's error when err came about because the reply broke off, and nil when it
// has another cause.
func (r *response) broken(err error) error {
	switch {
	case err == nil, errors.Is(err, errStopped), errors.Is(err, ErrReplyChanged):
		return nil
	case r.ex.readErr != nil:
		return r.ex.readErr
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &TransportError{Op: r.ex.r.op, Sent: true, Err: errors.New("the reply ends too early")}
	}
	return nil
}
