import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/sensors'], title: { en: 'Sensors', de: 'Sensoren' }, needs: 'sensors:read', menu: { at: 7.5, key: 'o' }, load: () => import('./Screen.svelte') };
