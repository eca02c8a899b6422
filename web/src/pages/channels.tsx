export const Channels = () => null;
