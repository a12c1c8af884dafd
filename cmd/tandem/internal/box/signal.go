package box

import (
	"fmt"
	"syscall"

	"tandem/internal/signals"
)

// ParseSignal reads a signal, as signals.Parse. What is none is ErrOption.
func ParseSignal(text string) (syscall.Signal, error) {
	s, err := signals.Parse(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrOption, err)
	}
	return s, nil
}
