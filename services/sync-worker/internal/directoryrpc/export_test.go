package directoryrpc

import "time"

// SetIdle shortens how long an import waits for its file.
func (s *Server) SetIdle(d time.Duration) { s.idle = d }
