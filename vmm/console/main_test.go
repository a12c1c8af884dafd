package console

import (
	"os"
	"testing"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) {
	if ending := os.Getenv(endingVariable); ending != "" {
		openAndEnd(ending)
	}
	testenv.Main(m)
}
