package natsd

import (
	"errors"
	"os"
	"syscall"
)

// errTaken says that another open file holds the lock.
var errTaken = errors.New("taken")

// flock takes an exclusive lock that lasts until the file is closed, at the latest by the end of the process.
func flock(f *os.File) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return errTaken
		default:
			return err
		}
	}
}
