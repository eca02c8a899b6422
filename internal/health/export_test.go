package health

// SketchOf is the sketch of latencies, for benchmarks that make rollups themselves.
func SketchOf(latencies []int64) []byte { return sketchOf(latencies) }
