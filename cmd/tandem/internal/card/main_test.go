package card

import (
	"testing"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
