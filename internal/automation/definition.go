package automation

// Definition is what an automation says.
type Definition struct{}
