// Package soql owns the SOQL language: the tree of a query, the parser, and the texts of syntax errors. It knows no
// object and no field; package query gives a tree its meaning.
package soql

// Query is a parsed SELECT.
type Query struct {
	Text    string // as sent, for error texts
	Object  string
	Alias   string
	FromPos int // place of Object in Text, in bytes
	Select  []Item
	Scope   string // USING SCOPE
	Where   Expr   // nil: none
	GroupBy []Item
	Rollup  string // "", "ROLLUP" or "CUBE"
	Having  Expr
	OrderBy []Order
	Limit   int // -1: none
	Offset  int
	AllRows bool
	For     []string // VIEW, REFERENCE, UPDATE
}

// CountOnly reports whether the query is SELECT COUNT().
func (q *Query) CountOnly() bool {
	return len(q.Select) == 1 && q.Select[0].Func == "COUNT" && len(q.Select[0].Path) == 0
}

// Aggregate reports whether the query answers groups instead of records.
func (q *Query) Aggregate() bool {
	if len(q.GroupBy) > 0 {
		return true
	}
	for _, i := range q.Select {
		if i.Aggregate() && !q.CountOnly() {
			return true
		}
	}
	return false
}

// Item is something selected, grouped or compared: a field path, a function over one, FIELDS(...), or a subquery.
type Item struct {
	Path  []string // Account, Name
	Func  string   // upper case; "FIELDS" has ALL, STANDARD or CUSTOM in Path
	Inner *Item    // CALENDAR_YEAR(convertTimezone(x)), DISTANCE's arguments are not kept
	Alias string
	Sub   *Query
	Pos   int
}

var aggregates = map[string]bool{"COUNT": true, "COUNT_DISTINCT": true, "SUM": true, "AVG": true, "MIN": true, "MAX": true}

// Aggregate reports whether the item is an aggregate function.
func (i Item) Aggregate() bool { return aggregates[i.Func] }

// Order is one entry of ORDER BY.
type Order struct {
	Item       Item
	Descending bool
	NullsLast  bool
}

// Expr is a condition: *And, *Or, *Not or *Compare.
type Expr interface{ expr() }

// And holds when all of its Terms hold.
type And struct{ Terms []Expr }

// Or holds when one of its Terms holds.
type Or struct{ Terms []Expr }

// Not holds when Term does not.
type Not struct{ Term Expr }

// Compare is one comparison.
type Compare struct {
	Item   Item
	Op     string // "=", "!=", "<", "<=", ">", ">=", "LIKE", "IN", "NOT IN", "INCLUDES", "EXCLUDES"
	Value  Literal
	List   []Literal // of IN, NOT IN, INCLUDES, EXCLUDES
	Sub    *Query    // of IN, NOT IN
	Pos    int       // of the operator
	ValPos int
}

func (*And) expr()     {}
func (*Or) expr()      {}
func (*Not) expr()     {}
func (*Compare) expr() {}

// LiteralKind is how a literal was written.
type LiteralKind uint8

// The kinds of literal.
const (
	String LiteralKind = iota
	Number
	Bool
	Null
	Date
	Datetime
	DateRange // TODAY, LAST_N_DAYS:3
)

// Literal is a constant.
type Literal struct {
	Kind LiteralKind
	Text string // unescaped; DateRange: the name in upper case. In LIKE patterns \_ and \% keep their backslash
	N    int    // of DateRange
	Like string // String: the text with \% and \_ kept, for LIKE
}

// Error is a query that cannot be run, in the words of Salesforce.
type Error struct {
	Code    string // MALFORMED_QUERY, INVALID_FIELD, INVALID_TYPE, ...
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }
