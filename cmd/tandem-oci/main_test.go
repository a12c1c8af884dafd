package main

import (
	"testing"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.MainHostWide(m) }
