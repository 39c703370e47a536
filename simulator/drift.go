package simulator

import (
	"errors"
	"fmt"
)

// RemoveField takes a field away from an object, as an admin does who deletes a custom field, or who hides a standard one
// from everybody. Fields that every record needs stay. An org with a state file keeps all of its fields, for the file names
// them.
func (s *Server) RemoveField(object, field string) error {
	if s.opts.StateFile != "" {
		return errors.New("an org with a state file keeps its fields")
	}
	s.db.Lock()
	defer s.db.Unlock()
	o := s.db.Schema.Object(object)
	if o == nil {
		return fmt.Errorf("there is no object %s", object)
	}
	return s.db.Schema.RemoveField(o, field)
}
