package satellite

const childEnv = "PERIGEE_TEST_SATELLITE"

func child() {}
