import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/sensors/:ref'], title: { en: 'Sensor', de: 'Sensor' }, needs: 'sensors:read', load: () => import('./Screen.svelte') };
