package soql

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// MaxLength is how many characters a query may have.
const MaxLength = 100_000

const maxDepth = 100

type parser struct {
	q      string
	tokens []token
	i      int
	depth  int
}

// Parse reads a query.
func Parse(q string) (*Query, *Error) {
	if strings.TrimSpace(q) == "" {
		return nil, &Error{"MALFORMED_QUERY", "SOQL statements cannot be empty or null"}
	}
	if len(q) > MaxLength && len([]rune(q)) > MaxLength {
		return nil, &Error{"MALFORMED_QUERY", fmt.Sprintf("SOQL statement too long: %d characters, the maximum is %d", len([]rune(q)), MaxLength)}
	}
	tokens, err := lex(q)
	if err != nil {
		return nil, err
	}
	p := &parser{q: q, tokens: tokens}
	if !p.peek().is("SELECT") {
		return nil, &Error{"MALFORMED_QUERY", fmt.Sprintf("unexpected token: '%s'", p.peek().shown())}
	}
	out, err := p.query()
	if err != nil {
		return nil, err
	}
	if p.peek().kind != eof {
		return nil, p.unexpected()
	}
	return out, nil
}

func (p *parser) peek() token { return p.tokens[p.i] }

func (p *parser) take() token {
	t := p.tokens[p.i]
	if t.kind != eof {
		p.i++
	}
	return t
}

func (p *parser) accept(w string) bool {
	if p.peek().is(w) || p.peek().kind == symbol && p.peek().text == w {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(w string) *Error {
	if p.accept(w) {
		return nil
	}
	return p.unexpected()
}

func (p *parser) unexpected() *Error {
	t := p.peek()
	return At(p.q, t.pos, "MALFORMED_QUERY", fmt.Sprintf("unexpected token: '%s'", t.shown()))
}

func (p *parser) enter() *Error {
	if p.depth++; p.depth > maxDepth {
		return At(p.q, p.peek().pos, "QUERY_TOO_COMPLICATED", "query is too complicated")
	}
	return nil
}

func (p *parser) query() (*Query, *Error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	q := &Query{Text: p.q, Limit: -1}
	if err := p.expect("SELECT"); err != nil {
		return nil, err
	}
	for {
		item, err := p.selected()
		if err != nil {
			return nil, err
		}
		q.Select = append(q.Select, item)
		if !p.accept(",") {
			break
		}
	}
	if err := p.expect("FROM"); err != nil {
		return nil, err
	}
	q.FromPos = p.peek().pos
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	q.Object = name
	for p.accept(".") { // FROM Account.Contacts style paths have no meaning here, FROM c.Contacts inside a subquery does
		if name, err = p.name(); err != nil {
			return nil, err
		}
		q.Object = name
	}
	if t := p.peek(); t.kind == word && !clause[strings.ToUpper(t.text)] {
		p.accept("AS")
		if q.Alias, err = p.name(); err != nil {
			return nil, err
		}
	}
	return q, p.clauses(q)
}

var clause = map[string]bool{"USING": true, "WHERE": true, "WITH": true, "GROUP": true, "HAVING": true, "ORDER": true, "LIMIT": true, "OFFSET": true, "FOR": true, "ALL": true, "UPDATE": true, "FROM": true}

func (p *parser) clauses(q *Query) *Error {
	var err *Error
	if p.accept("USING") {
		if err = p.expect("SCOPE"); err != nil {
			return err
		}
		if q.Scope, err = p.name(); err != nil {
			return err
		}
	}
	if p.accept("WHERE") {
		if q.Where, err = p.condition(); err != nil {
			return err
		}
	}
	if p.accept("WITH") {
		if !p.accept("SECURITY_ENFORCED") && !p.accept("USER_MODE") && !p.accept("SYSTEM_MODE") {
			return p.unexpected()
		}
	}
	if p.accept("GROUP") {
		if err = p.groupBy(q); err != nil {
			return err
		}
	}
	if p.accept("HAVING") {
		if q.Having, err = p.condition(); err != nil {
			return err
		}
	}
	if p.accept("ORDER") {
		if err = p.orderBy(q); err != nil {
			return err
		}
	}
	if p.accept("LIMIT") {
		if q.Limit, err = p.count(); err != nil {
			return err
		}
	}
	if p.accept("OFFSET") {
		if q.Offset, err = p.count(); err != nil {
			return err
		}
	}
	for p.accept("FOR") {
		name, err := p.name()
		if err != nil {
			return err
		}
		q.For = append(q.For, strings.ToUpper(name))
	}
	if p.accept("ALL") {
		q.AllRows = true
		return p.expect("ROWS")
	}
	return nil
}

func (p *parser) groupBy(q *Query) *Error {
	if err := p.expect("BY"); err != nil {
		return err
	}
	closing := false
	for _, w := range []string{"ROLLUP", "CUBE"} {
		if p.peek().is(w) && p.tokens[p.i+1].text == "(" {
			q.Rollup, closing = w, true
			p.i += 2
		}
	}
	for {
		item, err := p.item()
		if err != nil {
			return err
		}
		q.GroupBy = append(q.GroupBy, item)
		if !p.accept(",") {
			break
		}
	}
	if closing {
		return p.expect(")")
	}
	return nil
}

func (p *parser) orderBy(q *Query) *Error {
	if err := p.expect("BY"); err != nil {
		return err
	}
	for {
		item, err := p.item()
		if err != nil {
			return err
		}
		o := Order{Item: item}
		if p.accept("DESC") {
			o.Descending = true
		} else {
			p.accept("ASC")
		}
		if p.accept("NULLS") {
			o.NullsLast = p.accept("LAST")
			if !o.NullsLast {
				if err := p.expect("FIRST"); err != nil {
					return err
				}
			}
		}
		q.OrderBy = append(q.OrderBy, o)
		if !p.accept(",") {
			return nil
		}
	}
}

func (p *parser) count() (int, *Error) {
	t := p.peek()
	n, err := strconv.Atoi(t.text)
	if t.kind != number || err != nil || n < 0 {
		return 0, p.unexpected()
	}
	p.i++
	return n, nil
}

func (p *parser) name() (string, *Error) {
	if p.peek().kind != word {
		return "", p.unexpected()
	}
	return p.take().text, nil
}

// selected reads an entry of the field list: an item with an alias, or a subquery.
func (p *parser) selected() (Item, *Error) {
	if p.peek().text == "(" && p.peek().kind == symbol {
		pos := p.take().pos
		sub, err := p.query()
		if err != nil {
			return Item{}, err
		}
		return Item{Sub: sub, Pos: pos}, p.expect(")")
	}
	if p.peek().is("FROM") || p.peek().is("TYPEOF") {
		return Item{}, p.unexpected()
	}
	item, err := p.item()
	if err != nil {
		return item, err
	}
	if t := p.peek(); t.kind == word && !clause[strings.ToUpper(t.text)] {
		item.Alias = p.take().text
	}
	return item, nil
}

func (p *parser) item() (Item, *Error) {
	if err := p.enter(); err != nil {
		return Item{}, err
	}
	defer func() { p.depth-- }()
	item := Item{Pos: p.peek().pos}
	name, err := p.name()
	if err != nil {
		return item, err
	}
	if p.accept("(") {
		item.Func = strings.ToUpper(name)
		if p.accept(")") {
			return item, nil
		}
		inner, err := p.item()
		if err != nil {
			return item, err
		}
		if inner.Func != "" {
			item.Inner = &inner
		}
		item.Path = inner.Path
		return item, p.expect(")")
	}
	item.Path = []string{name}
	for p.accept(".") {
		if name, err = p.name(); err != nil {
			return item, err
		}
		item.Path = append(item.Path, name)
	}
	return item, nil
}

var (
	plainNumber = regexp.MustCompile(`^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$`)
	plainDate   = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	plainTime   = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[-+]\d{2}:?\d{2})$`)
	fixedRange  = regexp.MustCompile(`^(YESTERDAY|TODAY|TOMORROW|(LAST|THIS|NEXT)_(WEEK|MONTH|QUARTER|YEAR|FISCAL_QUARTER|FISCAL_YEAR)|(LAST|NEXT)_90_DAYS)$`)
	countRange  = regexp.MustCompile(`^((LAST|NEXT)_N_(DAYS|WEEKS|MONTHS|QUARTERS|YEARS|FISCAL_QUARTERS|FISCAL_YEARS)|N_(DAYS|WEEKS|MONTHS|QUARTERS|YEARS|FISCAL_QUARTERS|FISCAL_YEARS)_AGO)$`)
)
