package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
)

// confirm asks a question on standard error that yes answers. Everything else, and nobody there to answer, leaves all
// as it is.
func (p *program) confirm(question string) error {
	in, ok := p.env.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return exit.Misuse("there is nobody to ask; give --yes to go on without asking")
	}
	fmt.Fprintf(p.env.Stderr, "%s [y/N] ", question)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return exit.With(exit.Cancelled, "nothing was done")
}
