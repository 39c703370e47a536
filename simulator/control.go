package simulator

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/catalogsync/catalogsync/simulator/fault"
)

// controlHandler routes the control API.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"org": s.OrgID(), "user": s.UserID(), "url": s.URL, "effects": s.EffectCount(), "apiCalls": s.rest.Used.Load()})
	})
	mux.HandleFunc("GET /effects", s.controlEffects)
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Counters()) })
	mux.HandleFunc("GET /records/{object}", s.controlRecords)
	mux.HandleFunc("GET /records/{object}/count", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]int{"count": s.Count(r.PathValue("object"))})
	})
	mux.HandleFunc("POST /records/{object}", func(w http.ResponseWriter, r *http.Request) {
		var fields map[string]string
		if !readControl(w, r, &fields) {
			return
		}
		id, err := s.Create(r.PathValue("object"), fields)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, map[string]string{"id": id})
	})
	mux.HandleFunc("GET /record/{id}", func(w http.ResponseWriter, r *http.Request) {
		rec, ok := s.Record(r.PathValue("id"))
		if !ok {
			http.Error(w, "no record "+r.PathValue("id"), http.StatusNotFound)
			return
		}
		answer(w, rec)
	})
	mux.HandleFunc("PATCH /record/{id}", func(w http.ResponseWriter, r *http.Request) {
		var fields map[string]string
		if readControl(w, r, &fields) {
			done(w, s.Update(r.PathValue("id"), fields))
		}
	})
	mux.HandleFunc("DELETE /record/{id}", func(w http.ResponseWriter, r *http.Request) { done(w, s.Delete(r.PathValue("id"))) })
	mux.HandleFunc("POST /record/{id}/convert", func(w http.ResponseWriter, r *http.Request) {
		id, err := s.ConvertLead(r.PathValue("id"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, map[string]string{"contactId": id})
	})
	mux.HandleFunc("POST /record/{id}/undelete", func(w http.ResponseWriter, r *http.Request) { done(w, s.Undelete(r.PathValue("id"))) })
	mux.HandleFunc("POST /record/{id}/merge", func(w http.ResponseWriter, r *http.Request) {
		var losers []string
		if readControl(w, r, &losers) {
			done(w, s.Merge(r.PathValue("id"), losers...))
		}
	})
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"rules": s.faults.Rules(), "fired": s.faults.Fired()})
	})
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var rules []fault.Rule
		if readControl(w, r, &rules) {
			done(w, s.faults.Add(rules...))
		}
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		s.faults.Clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("PUT /login-policy", func(w http.ResponseWriter, r *http.Request) {
		var p LoginPolicy
		if readControl(w, r, &p) {
			s.SetLoginPolicy(p)
			w.WriteHeader(http.StatusNoContent)
		}
	})
	mux.HandleFunc("PUT /validation-rules", func(w http.ResponseWriter, r *http.Request) {
		var rules []ValidationRule
		if readControl(w, r, &rules) {
			done(w, s.SetValidationRules(rules...))
		}
	})
	mux.HandleFunc("PUT /duplicate-rules", func(w http.ResponseWriter, r *http.Request) {
		var rules map[string]DuplicateRule
		if readControl(w, r, &rules) {
			done(w, s.SetDuplicateRules(rules))
		}
	})
	mux.HandleFunc("POST /sessions/expire", func(w http.ResponseWriter, _ *http.Request) {
		s.ExpireSessions()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("PUT /api-used", func(w http.ResponseWriter, r *http.Request) {
		var n int
		if readControl(w, r, &n) {
			s.SetAPIUsed(n)
			w.WriteHeader(http.StatusNoContent)
		}
	})
	mux.HandleFunc("PUT /clock-offset", func(w http.ResponseWriter, r *http.Request) {
		var d fault.Duration
		if readControl(w, r, &d) {
			s.SetClockOffset(time.Duration(d))
			w.WriteHeader(http.StatusNoContent)
		}
	})
	return mux
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func done(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func readControl(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(v); err != nil {
		http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// controlEffects answers the ledger as one JSON object a line: ?after=N&limit=N, and &follow=1 to go on as effects come.
func (s *Server) controlEffects(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	if r.URL.Query().Get("follow") == "" {
		for _, e := range s.ledger.Since(after, limit) {
			if enc.Encode(e) != nil {
				return
			}
		}
		return
	}
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	for e := range s.ledger.Watch(r.Context(), after) {
		if enc.Encode(e) != nil || flush.Flush() != nil {
			return
		}
	}
}

// controlRecords answers records as one JSON object a line: ?limit=N.
func (s *Server) controlRecords(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	n := 0
	for rec := range s.Records(r.PathValue("object")) {
		if n++; limit > 0 && n > limit || enc.Encode(rec) != nil {
			return
		}
	}
}
