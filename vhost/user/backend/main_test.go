package backend

import (
	"os"
	"testing"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) {
	if os.Getenv(childSocket) != "" {
		os.Exit(m.Run()) // to be killed: it cannot clean up
	}
	testenv.Main(m)
}
