// Package exit owns the exit codes of catalogsync and the errors that carry them.
package exit

import "fmt"

// The codes. The help of the root command explains them.
const (
	Failed      = 1   // it did not work
	Usage       = 2   // a flag, an argument or a file cannot be used
	Partly      = 3   // done, but not for all
	Reconnect   = 4   // Salesforce refuses the credentials
	Cancelled   = 5   // the run was cancelled
	RunFailed   = 6   // the run failed
	Held        = 7   // a guard holds the run until somebody decides
	Interrupted = 130 // by a signal
)

// Error says what happened and what to do, and with which code the process ends.
type Error struct {
	Code int
	Text string
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// ExitCode returns the code.
func (e *Error) ExitCode() int { return e.Code }

// With returns an error with a code.
func With(code int, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// Misuse returns an error about a flag, an argument or a file that cannot be used.
func Misuse(format string, args ...any) error { return With(Usage, format, args...) }
