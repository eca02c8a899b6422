package protocol

// Message is anything that travels. Type is the wire's "type" member. Validate
// checks required fields and limits.
type Message interface {
	Type() string
	Validate() error
}

// FromAgent marks messages that a satellite sends.
type FromAgent interface {
	Message
	fromAgent()
}

// FromCore marks messages that a core sends.
type FromCore interface {
	Message
	fromCore()
}
