package main

import (
	"testing"

	"tandem/internal/nettest"
	"tandem/internal/testenv"
)

func TestMain(m *testing.M) {
	nettest.Main()
	testenv.Main(m)
}
