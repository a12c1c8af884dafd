package image

func helperMain() bool { return false }
