package blk

import (
	"os"
	"testing"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) {
	if os.Getenv(childImage) != "" {
		os.Exit(m.Run()) // TestDurable's child: its parent looks after what is left
	}
	testenv.MainHostWide(m) // loop devices are everybody's
}
