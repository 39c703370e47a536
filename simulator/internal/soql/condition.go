package soql

import (
	"strings"
)

// condition reads terms joined by AND or by OR; mixing them needs brackets.
func (p *parser) condition() (Expr, *Error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	first, err := p.term()
	if err != nil {
		return nil, err
	}
	terms := []Expr{first}
	joint := ""
	for {
		t := p.peek()
		if !t.is("AND") && !t.is("OR") {
			break
		}
		w := strings.ToUpper(t.text)
		if joint != "" && w != joint {
			return nil, p.unexpected()
		}
		joint = w
		p.i++
		term, err := p.term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, term)
	}
	switch joint {
	case "AND":
		return &And{terms}, nil
	case "OR":
		return &Or{terms}, nil
	}
	return first, nil
}

func (p *parser) term() (Expr, *Error) {
	if p.accept("NOT") {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		t, err := p.term()
		return &Not{t}, err
	}
	if p.accept("(") {
		e, err := p.condition()
		if err != nil {
			return nil, err
		}
		return e, p.expect(")")
	}
	return p.compare()
}

func (p *parser) compare() (Expr, *Error) {
	item, err := p.item()
	if err != nil {
		return nil, err
	}
	c := &Compare{Item: item, Pos: p.peek().pos}
	t := p.peek()
	switch {
	case t.kind == symbol && (t.text == "=" || t.text == "!=" || t.text == "<" || t.text == "<=" || t.text == ">" || t.text == ">="):
		c.Op = t.text
		p.i++
	case t.is("LIKE"), t.is("IN"), t.is("INCLUDES"), t.is("EXCLUDES"):
		c.Op = strings.ToUpper(t.text)
		p.i++
	case t.is("NOT"):
		p.i++
		c.Op = "NOT IN"
		if err := p.expect("IN"); err != nil {
			return nil, err
		}
	default:
		return nil, p.unexpected()
	}
	c.ValPos = p.peek().pos
	switch c.Op {
	case "IN", "NOT IN", "INCLUDES", "EXCLUDES":
		return c, p.list(c)
	}
	c.Value, err = p.literal()
	return c, err
}

func (p *parser) list(c *Compare) *Error {
	if err := p.expect("("); err != nil {
		return err
	}
	if p.peek().is("SELECT") {
		var err *Error
		if c.Sub, err = p.query(); err != nil {
			return err
		}
		return p.expect(")")
	}
	for {
		l, err := p.literal()
		if err != nil {
			return err
		}
		c.List = append(c.List, l)
		if !p.accept(",") {
			return p.expect(")")
		}
	}
}

func (p *parser) literal() (Literal, *Error) {
	t := p.peek()
	switch t.kind {
	case text:
		p.i++
		return Literal{Kind: String, Text: t.text, Like: t.like}, nil
	case number:
		p.i++
		switch {
		case plainNumber.MatchString(t.text):
			return Literal{Kind: Number, Text: t.text}, nil
		case plainDate.MatchString(t.text):
			return Literal{Kind: Date, Text: t.text}, nil
		case plainTime.MatchString(strings.ToUpper(t.text)):
			return Literal{Kind: Datetime, Text: strings.ToUpper(t.text)}, nil
		}
		p.i--
		return Literal{}, p.unexpected()
	case word:
		w := strings.ToUpper(t.text)
		switch {
		case w == "TRUE" || w == "FALSE":
			p.i++
			return Literal{Kind: Bool, Text: strings.ToLower(w)}, nil
		case w == "NULL":
			p.i++
			return Literal{Kind: Null}, nil
		case fixedRange.MatchString(w):
			p.i++
			return Literal{Kind: DateRange, Text: w}, nil
		case countRange.MatchString(w):
			p.i++
			if err := p.expect(":"); err != nil {
				return Literal{}, err
			}
			n, err := p.count()
			return Literal{Kind: DateRange, Text: w, N: n}, err
		}
	}
	return Literal{}, p.unexpected()
}
