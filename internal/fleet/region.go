package fleet

// Region is how many satellites a region has and how they fare, by the database's
// clock. Every count is of satellites; Online are heard, NeverConnected and Ill are
// among the others too.
type Region struct {
	Region         string `json:"region"`
	Satellites     int64  `json:"satellites"`
	Online         int64  `json:"online"`
	NeverConnected int64  `json:"neverConnected"`
	Ill            int64  `json:"ill" doc:"Unwell themselves, whether they are heard or not."`
	Cordoned       int64  `json:"cordoned"`
}
