package mapfile

import (
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

var guardSettings = settings[mapperv1.Guards]{
	brake("creates", func(g *mapperv1.Guards) **mapperv1.Brake { return &g.Creates }),
	brake("updates", func(g *mapperv1.Guards) **mapperv1.Brake { return &g.Updates }),
	brake("clears", func(g *mapperv1.Guards) **mapperv1.Brake { return &g.Clears }),
	brake("deactivations", func(g *mapperv1.Guards) **mapperv1.Brake { return &g.Deactivations }),
	yes("approve_every_run", false, func(g *mapperv1.Guards) *bool { return &g.ApproveEveryRun }),
	number("hold_hours", 32, func(g *mapperv1.Guards) *int32 { return &g.HoldHours }),
	yes("allow_empty_source", false, func(g *mapperv1.Guards) *bool { return &g.AllowEmptySource }),
	share("least_people", func(g *mapperv1.Guards) *float64 { return &g.LeastPeople }),
	share("allocation_share", func(g *mapperv1.Guards) *float64 { return &g.AllocationShare }),
	share("allocation_stop", func(g *mapperv1.Guards) *float64 { return &g.AllocationStop }),
}

var brakeSettings = settings[mapperv1.Brake]{
	number("count", 64, func(b *mapperv1.Brake) *int64 { return &b.Count }),
	share("share", func(b *mapperv1.Brake) *float64 { return &b.Share }),
}

// none is how the file writes a limit of -1: that there is none.
const none = "none"

// number is a setting that is a whole number, or none; 0: not set.
func number[M any, N int32 | int64](key string, bits int, at func(*M) *N) setting[M] {
	return setting[M]{
		key: key,
		read: func(r *reader, n *yaml.Node, m *M) {
			v := r.text(key, n)
			i, err := strconv.ParseInt(v, 10, bits)
			switch {
			case v == none:
				i = -1
			case err != nil:
				r.fail(n.Line, "%s is %q; give a whole number, or none", key, v)
			}
			*at(m) = N(i)
		},
		write: func(m *M) (*yaml.Node, error) {
			switch v := *at(m); v {
			case 0:
				return nil, nil
			case -1:
				return scalar(none), nil
			default:
				return literal(strconv.FormatInt(int64(v), 10), "!!int"), nil
			}
		},
	}
}

// share is a setting that is a share, as per cent or from 0 to 1, or none; 0: not set.
func share[M any](key string, at func(*M) *float64) setting[M] {
	return setting[M]{
		key: key,
		read: func(r *reader, n *yaml.Node, m *M) {
			v := r.text(key, n)
			f, ok := parseShare(v)
			if !ok {
				r.fail(n.Line, "%s is %q; give a share such as 30%% or 0.3", key, v)
			}
			*at(m) = f
		},
		write: func(m *M) (*yaml.Node, error) {
			if *at(m) == 0 {
				return nil, nil
			}
			return shareNode(*at(m)), nil
		},
	}
}

func parseShare(v string) (float64, bool) {
	if v == none {
		return -1, true
	}
	digits, percent := strings.CutSuffix(v, "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if percent {
		f /= 100
	}
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false
	}
	if f == 0 {
		f = 0 // and not -0
	}
	return f, true
}

// shareNode writes a share as per cent where nothing is lost by it.
func shareNode(f float64) *yaml.Node {
	if f == -1 {
		return scalar(none)
	}
	if percent := strconv.FormatFloat(f*100, 'f', -1, 64); len(percent) <= 6 {
		if again, ok := parseShare(percent + "%"); ok && again == f {
			return scalar(percent + "%")
		}
	}
	return literal(strconv.FormatFloat(f, 'g', -1, 64), "!!float")
}

// brake is a setting that is a limit of a guard. It is a group with two short forms, 500 and 30%, and none.
func brake(key string, at func(*mapperv1.Guards) **mapperv1.Brake) setting[mapperv1.Guards] {
	s := group(key, brakeSettings, at)
	read, write := s.read, s.write
	s.read = func(r *reader, n *yaml.Node, g *mapperv1.Guards) {
		if v := r.visit(n); v == nil || v.Kind != yaml.ScalarNode {
			read(r, n, g)
			return
		}
		v := r.text(key, n)
		b := &mapperv1.Brake{}
		count, err := strconv.ParseInt(v, 10, 64)
		part, ok := parseShare(v)
		switch {
		case v == none:
			b.Count, b.Share = -1, -1
		case err == nil:
			b.Count = count
		case ok && strings.HasSuffix(v, "%"):
			b.Share = part
		default:
			r.fail(n.Line, "%s is %q; give a number such as 500, a share such as 30%%, none, or count and share", key, v)
		}
		*at(g) = b
	}
	s.write = func(g *mapperv1.Guards) (*yaml.Node, error) {
		b := *at(g)
		switch {
		case b.GetCount() == -1 && b.GetShare() == -1:
			return scalar(none), nil
		case b.GetCount() > 0 && b.GetShare() == 0:
			return literal(strconv.FormatInt(b.GetCount(), 10), "!!int"), nil
		case b.GetCount() == 0 && b.GetShare() != 0:
			if n := shareNode(b.GetShare()); strings.HasSuffix(n.Value, "%") {
				return n, nil
			}
		}
		n, err := write(g)
		return flow(n), err
	}
	return s
}
