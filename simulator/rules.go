package simulator

import (
	"fmt"
	"regexp"

	"github.com/catalogsync/catalogsync/simulator/internal/oauth"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
)

// LoginPolicy is what the org's admin allows at login; the zero value allows everything.
type LoginPolicy = oauth.Policy

// SetLoginPolicy replaces the login policy.
func (s *Server) SetLoginPolicy(p LoginPolicy) { s.oauth.SetPolicy(p) }

// SetRunAs makes client credentials run as another user of the org, given by id. What that user may see and change is
// decided by the profile's and the assigned permission sets' ObjectPermissions and FieldPermissions.
func (s *Server) SetRunAs(userID string) error {
	r, ok := s.Record(userID)
	if !ok || r.Fields["Username"] == "" {
		return fmt.Errorf("run as %q: no such user", userID)
	}
	s.oauth.SetRunAs(r.ID)
	return nil
}

// DuplicateRule refuses creates that match a live record in all of Fields; see SetDuplicateRules.
type DuplicateRule = save.DuplicateRule

// StandardDuplicateRules are the alert rules that a new org has on Contact and Lead, here by e-mail and name.
func StandardDuplicateRules() map[string]DuplicateRule {
	rule := func(object string) DuplicateRule {
		return DuplicateRule{
			Name: "Standard_" + object + "_Duplicate_Rule", MatchRule: "Standard_" + object + "_Match_Rule_v1_1", Fields: []string{"Email", "LastName", "FirstName"},
			Message: "You're creating a duplicate record. We recommend you use an existing record instead.",
		}
	}
	return map[string]DuplicateRule{"Contact": rule("Contact"), "Lead": rule("Lead")}
}

// SetDuplicateRules replaces the active duplicate rules, by object; a new org of this package has none. A save is slow
// where the first field of a rule is no idLookup, external id or unique field: all records are looked through.
func (s *Server) SetDuplicateRules(rules map[string]DuplicateRule) error {
	for object, r := range rules {
		t := s.db.Table(object)
		if t == nil || len(r.Fields) == 0 {
			return fmt.Errorf("duplicate rule of %q: no such object, or the rule has no fields", object)
		}
		s.db.RLock()
		for _, name := range r.Fields {
			if t.Object.Field(name) == nil {
				s.db.RUnlock()
				return fmt.Errorf("duplicate rule of %s: there is no field %s", object, name)
			}
		}
		s.db.RUnlock()
	}
	s.pipe.SetDuplicateRules(rules)
	return nil
}

// ValidationRule refuses a save when a field's value matches a pattern.
type ValidationRule struct {
	Object  string `json:"object"`
	Field   string `json:"field"`
	Pattern string `json:"pattern"` // regular expression over the value; null is the empty text
	Message string `json:"message"`
	Code    string `json:"code,omitempty"` // default FIELD_CUSTOM_VALIDATION_EXCEPTION; CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY for a trigger
}

// SetValidationRules replaces the active validation rules.
func (s *Server) SetValidationRules(rules ...ValidationRule) error {
	hooks := make([]save.Hook, 0, len(rules))
	for _, r := range rules {
		t := s.db.Table(r.Object)
		if t == nil {
			return fmt.Errorf("validation rule: no object %q", r.Object)
		}
		pattern, err := regexp.Compile(r.Pattern)
		if err != nil {
			return fmt.Errorf("validation rule of %s: %w", r.Object, err)
		}
		if r.Code == "" {
			r.Code = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
		}
		hooks = append(hooks, func(object string, _ save.Op, value func(string) string) *save.Error {
			if object != t.Object.Name || !pattern.MatchString(value(r.Field)) {
				return nil
			}
			return &save.Error{Code: r.Code, Message: r.Message, Fields: []string{r.Field}}
		})
	}
	s.pipe.SetHooks(hooks)
	return nil
}
