export const Maintenances = () => null;
